"""How the embedded models are trained, from the diorama alone. Only this package of `models` imports
`diorama`.
"""
