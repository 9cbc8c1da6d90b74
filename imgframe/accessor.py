def register(_m):
    pass
