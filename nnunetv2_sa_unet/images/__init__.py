"""What any command reads and writes: images, masks and folders of them; knows no network."""
