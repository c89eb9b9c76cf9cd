"""Where in the head a lesion lies: an atlas, its registration to a FLAIR image, and the regions made of both."""
