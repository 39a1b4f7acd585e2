"""The diorama: a small world whose every pixel is known.

It knows scenes, how to draw them, how to say them and what is true of them. It knows nothing about models,
minds or graphs, and imports nothing else of this project. `graph`, `vocabulary`, `wording`, `parsing` and
`truth` need no torch.
"""
