"""A call in a process of its own, for code that may crash: the stock runtime does on some models."""
import os


def isolated(call, *arguments):
    """What call(*arguments) writes to the text file that it gets as its last argument; "" when it crashed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(write, "w") as pipe:
            call(*arguments, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text
