"""What things are: values and rules that need nothing but the standard library, numpy and msgspec."""
