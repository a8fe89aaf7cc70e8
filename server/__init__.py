"""The Isthmus server: the kernel at the floor, the application at the roof."""
