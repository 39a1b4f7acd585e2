"""The embedded models: a small painter and two perception models, trained here on the diorama, shipped as
weights.
"""
