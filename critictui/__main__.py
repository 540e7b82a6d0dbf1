"""`python -m critictui` is `critictui`."""

from critictui.cli import main

main()
