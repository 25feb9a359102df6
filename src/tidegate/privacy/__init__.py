"""Keep the records that privacy law asks for, and carry out what the people in the data ask for."""
