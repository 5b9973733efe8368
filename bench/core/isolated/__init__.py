"""Methods and metrics in processes of their own, without data files, results and network.

Methods get no labels of test rows.

``remote``
    a class with the interface of a method that runs ``fit`` and ``apply`` in another process;
``metric``
    a function that computes a metric in another process;
``host``
    the fork server of this process and its sessions;
``sandbox``
    the command that starts the server, in bubblewrap where possible;
``server``, ``session``
    the code of the server and of the process of a method;
``wire``
    messages between them.
"""
