"""A photo in; category scores and an embedding out: decoding, the network, the answer cache, and the models of them."""
