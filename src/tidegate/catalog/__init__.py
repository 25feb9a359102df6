"""Read what is declared into domain types, or explain why not."""
