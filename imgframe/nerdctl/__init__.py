"""What nerdctl's package imgutil shows and selects: its listing, its readers of documents, its choice of images."""
