"""What people look at: text that cannot steer their terminal, colour where it is wanted, widths that fit.

safe      makes any text harmless, whatever stands in a row
speech    how the command says something, complains, or answers a machine
"""
