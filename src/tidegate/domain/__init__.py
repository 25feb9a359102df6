"""The words of Tidegate as frozen types. Imports only the standard library."""
