"""The only room that writes to nodes: each action of a plan in a module of its own.

::

    apply                     the application of a plan, and the one table from action to module
    delete, tag, undo         image records: delete, create under another name, create again
    ensure, pull, push        images: look and unpack, or take from a registry; send to one
    fetch, unpack, transfer   blobs from a registry, snapshots from blobs, or both by containerd itself
    node_session              one node during an application; steps: what an action gets and gives
    leases, locks, labels     what protects content, who waits for whom, what ties blobs together
    progress, tasks           bars; coroutines that fail or end together
"""
