"""How often the rules cry wolf and how late they are, measured on labelled runs next to the defaults of other tools."""
