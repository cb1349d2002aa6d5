"""What lies between Lince and the operating system: files, memory, containers, standard streams, HTTP requests."""
