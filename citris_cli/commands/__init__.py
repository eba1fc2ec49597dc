"""One module a command: options in, core called, result printed. No mathematics and no file formats here."""
