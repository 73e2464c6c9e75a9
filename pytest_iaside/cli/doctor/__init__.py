"""``iaside doctor``: what is installed, what works, what a gate would cost, what is wrong."""
