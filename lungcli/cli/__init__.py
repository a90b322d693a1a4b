"""Speaking: parse, call one function, show."""
