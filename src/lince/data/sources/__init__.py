"""Where images come from: folders and zip files with a folder for each class, and CIFAR-10's archive."""
