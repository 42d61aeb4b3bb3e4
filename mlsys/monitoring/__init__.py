"""Model monitoring: is what the model sees now what it was trained on, and does it matter?"""
