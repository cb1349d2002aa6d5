"""The machine below: files, memory, containers, standard streams, native libraries kept quiet."""
