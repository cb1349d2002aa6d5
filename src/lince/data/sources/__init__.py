"""Where encoded images lie: directories, zip files, CIFAR-10's archive."""
