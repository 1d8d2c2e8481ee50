"""The same training with its clients on the nodes of a Flower federation, and our rules in Flower's own apps.

It needs the extra ``flower``: ``pip install 'recbole_attack[flower]'``.
"""
