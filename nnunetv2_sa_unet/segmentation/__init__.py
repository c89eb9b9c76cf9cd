"""From FLAIR images to masks and a table of volumes, with a trained model."""
