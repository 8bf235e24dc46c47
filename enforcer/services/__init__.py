"""What is done: the verbs, over ports alone; no technology is named here."""
