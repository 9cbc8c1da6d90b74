"""Go's encoding/json: what it accepts, its errors, what it puts into structs, and the strings it writes."""
