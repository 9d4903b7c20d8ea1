"""What single settings of HPL change, on validation classes."""
