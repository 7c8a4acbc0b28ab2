# C types for engine.py, used when Cython compiles it (see build.py and setup.py). Names and order as there.
# Types only: what the code does stands in engine.py.

cimport cython

cdef int FIRST, START, CONTENT
cdef int EE, CH_UNTYPED, CH, AT, SE_COMPLEX, SE_ANY, AT_ANY, SE_SIMPLE, SE_FIXED, SE_NUMBER, UNUSUAL
cdef int ENUM, BOOLEAN, NBIT, UINT, INT, HEX, BASE64, STRING
cdef int MAX_NOTES, MAX_GROUPS, GLOBAL, EASY, TABLE_WIDTH, USUAL_DEPTH
cdef object MISS
cdef State CLOSED
cdef Production ESCAPE
cdef const unsigned char *DIGITS

cdef class Value:
    cdef public int kind, width, size
    cdef public tuple values
    cdef public object low, high
    cdef dict _tables
    cpdef bint easy(self) except -1
    cpdef tuple table(self, int lead)

cdef class Production:
    cdef public int op, slot, limit, width
    cdef public bint many
    cdef public unsigned int mask, guard
    cdef public str key
    cdef public tuple table
    cdef public Type type
    cdef public Value value
    cdef public State start, next, full
    cpdef Production fast(self, int lead)

cdef class State:
    cdef public int kind, count, width
    cdef public unsigned int mask
    cdef public bint ends
    cdef public Production only
    cdef public list productions
    cpdef int second_level(self) except -1

cdef class Type:
    cdef public Value value
    cdef public object raw, table
    cdef public State start
    cpdef State first(self)

cdef class Reader:
    cdef public bytes data
    cdef const unsigned char *buffer
    cdef unsigned char scratch[64]
    cdef public Py_ssize_t end, pos, top
    cdef unsigned long long acc
    cdef public str key
    cdef public int max_depth, max_entries, entries, depth
    cdef public list notes, outs, opened
    cdef public dict literals

    @cython.locals(pos=Py_ssize_t, start=Py_ssize_t, size=Py_ssize_t, i=Py_ssize_t, word="unsigned long long")
    cdef Py_ssize_t refill(self, Py_ssize_t left, int width) except? -1
    cdef object cut(self, Py_ssize_t width)
    @cython.locals(after=Py_ssize_t)
    cpdef unsigned long long bits(self, int width) except? 0xFFFFFFFFFFFFFFFF
    cpdef object fail(self, Py_ssize_t offset, str reason)
    cdef object note(self, str text)
    @cython.locals(start=Py_ssize_t, group="unsigned long long", small="unsigned long long", shift=int)
    cdef object unsigned(self)
    @cython.locals(shift=int, more=bint)
    cdef object long_unsigned(self, object small, Py_ssize_t start)
    @cython.locals(start=Py_ssize_t, left=Py_ssize_t)
    cdef Py_ssize_t length(self) except -1
    @cython.locals(start=Py_ssize_t, shift=int, i=Py_ssize_t, raw=bytearray, target="unsigned char *")
    cdef bytes octets(self, Py_ssize_t count)
    @cython.locals(pos=Py_ssize_t)
    cdef Py_ssize_t skip(self, Py_ssize_t count) except -1
    @cython.locals(
        start=Py_ssize_t, shift=int, i=Py_ssize_t, byte="unsigned int", target="unsigned char *", text=str
    )
    cdef str hexadecimal(self, Py_ssize_t count)
    @cython.locals(start=Py_ssize_t, length=Py_ssize_t, text=str)
    cdef str string(self, int slot)
    @cython.locals(begin=Py_ssize_t, at=Py_ssize_t, raw=bytes)
    cdef str characters(self, Py_ssize_t count)
    @cython.locals(index=Py_ssize_t, width=int, found=list)
    cdef str hit(self, Py_ssize_t where, int slot, Py_ssize_t start)
    @cython.locals(kind=int, size=Py_ssize_t, raw=bytes, text=str)
    cdef object read_value(self, Value v, int slot)
    @cython.locals(start=Py_ssize_t, code=Py_ssize_t)
    cdef object fixed(self, Value v)
    cdef object number(self, Value v)
    @cython.locals(code=int)
    cdef object simple(self, Production p)
    @cython.locals(start=Py_ssize_t, events=int, second=int, p=Production)
    cdef object escape(self, State state, int code, dict out)
    cpdef dict root(self, Production p)
    @cython.locals(
        outs=list, opened=list, depth=int, left=Py_ssize_t, rest=Py_ssize_t, begin=Py_ssize_t, fresh=Py_ssize_t,
        acc="unsigned long long", code="unsigned int", low="unsigned int", op=int, p=Production, child=dict,
    )
    cdef object element(self, State state, dict out)
    @cython.locals(code=int, p=Production)
    cdef State careful(self, State state, dict out)
    cdef object other(self, int op, Production p, int slot, dict out)
    cdef object deeper(self, Py_ssize_t left, str key)
    @cython.locals(entries=list)
    cdef State append(self, dict out, Production p, object value, Py_ssize_t left)

@cython.locals(word="unsigned long long")
cdef unsigned long long load(const unsigned char *buffer, Py_ssize_t i) noexcept

cdef class Grammar:
    cdef public str schema
    cdef public bint wrapped
    cdef public list documents, fragments
    cdef public int width
    @cython.locals(reader=Reader, code=int, p=Production, content=dict, trailing=Py_ssize_t)
    cpdef object decode(self, bytes data, int max_depth, int max_entries)
    @cython.locals(reader=Reader, count=int, width=int, code=int, content=dict, start=Py_ssize_t)
    cpdef dict decode_fragment(self, bytes data, int max_depth, int max_entries)
