"""What tests of code on top of the engine need."""
