"""Vision-language models on this machine: pictures and words in, words or probabilities of words out."""
