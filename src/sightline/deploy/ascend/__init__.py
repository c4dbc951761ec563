"""From our model to figures on an Ascend: the files, commands and formats of the offline chain, each checked on its way.

Where there is no Ascend, a stand-in runs the same model on the same inputs and leaves the same files, saying so in them.
"""
