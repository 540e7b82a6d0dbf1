"""Charts in terminal cells: frozen data and a frozen view go in, strips of braille come out."""
