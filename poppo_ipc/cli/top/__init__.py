"""`poppo-ipc top`: what the daemon does, live, on the whole screen.

`_model` is what is known, `_answers` reads it out of what the daemon says, `_feed` asks and listens: these know nothing
of a screen, and run on any event loop. `_draw` makes texts of it, `_panels` puts them into places, `_app` is the
program with its keys.
"""
