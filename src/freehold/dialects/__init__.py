"""What clients and providers speak: pure functions between wire bytes and one canonical conversation.

Nothing here opens a socket, reads a clock or knows a provider's name. Each dialect module has the same verbs, so
that every client dialect reaches every provider dialect through `conversation.py`, never pairwise:

    read_request   client bytes      -> Conversation          write_request  Conversation -> provider bytes, losses
    read_reply     provider bytes    -> Reply                 write_reply    Reply        -> client bytes
    StreamReader   provider SSE      -> stream events         StreamWriter   stream events -> client SSE
    write_error    FreeholdError     -> client bytes
"""
