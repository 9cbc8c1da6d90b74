"""What nerdctl shows and selects: the image list, ReadIndex and its siblings, and the images that its commands choose."""
