// Keeps the library non-empty while no judge kernel exists.
