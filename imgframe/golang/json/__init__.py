"""encoding/json: what it accepts, in which words it refuses, and what it puts into structs."""
