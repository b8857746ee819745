"""Programs that read or write files in a process of their own, with limits of time and memory.

What people send may be made to harm whoever reads it, and libraries that read it are large: nothing here
shares memory, files or secrets with the service. `crmtransfer.sandboxed` starts them.
"""
