"""What "trusted" is worth: pairs whose posterior is known, and how often a method is wrong.

A datapoint is trusted if the error of log P(X), as stated, holds at its nominal rate, and those of
the posterior means too. It is *wrongly* trusted if it is called trusted although

- log P(X) is off by more than 4 stated errors and more than 0.05 nats, or
- some posterior mean is off by more than 4 stated errors and more than 0.1 posterior standard
  deviations.

A normal error passes 4 of its standard errors with probability 6e-5, so that 200 datapoints of
50 latents each have 0.6 such means by chance, and the bound in units of what is measured lets
errors pass that no user minds. Where a method states no means, log P(X) alone is judged. The
coverage of the 95 % intervals of trusted datapoints is measured beside it.
"""
