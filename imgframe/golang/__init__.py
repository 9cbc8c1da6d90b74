"""What Go's standard library decides, each module named after the Go package that it follows."""
