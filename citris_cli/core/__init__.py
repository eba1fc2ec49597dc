"""The model, in torch alone: no file, no console, no command is known here."""
