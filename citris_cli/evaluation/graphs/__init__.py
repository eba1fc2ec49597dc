"""The causal graph over a model's variables, read off its latents by ENCO (Lippe, Cohen and Gavves, ICLR 2022)."""
