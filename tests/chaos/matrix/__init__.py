"""`make chaos`: every fault that a machine can be made to suffer, each with what it must not break."""
