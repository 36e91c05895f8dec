"""Variational autoencoders from the beginning, in eleven steps that can be run and measured."""
