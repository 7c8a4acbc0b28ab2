# C types for engine.py, used when Cython compiles it (see build.py and setup.py). Names and order as there.
# Types only: what the code does stands in engine.py.

cimport cython

cdef extern from "engine_native.h":
    void keep(list values, Py_ssize_t place, object value)
    list drop(list values, Py_ssize_t base, Py_ssize_t count)
    Py_ssize_t layout(dict model)
    unsigned long long load(const unsigned char *buffer, Py_ssize_t i)
    dict record(dict model, Py_ssize_t first, list values, Py_ssize_t base, Py_ssize_t count)

cdef int FIRST, START, CONTENT
cdef int EE, CH_UNTYPED, CH, AT, SE_COMPLEX, SE_ANY, AT_ANY, SE_SIMPLE, SE_FIXED, SE_NUMBER, UNUSUAL
cdef int ENUM, BOOLEAN, NBIT, UINT, INT, HEX, BASE64, STRING
cdef int MAX_NOTES, MAX_GROUPS, GLOBAL, EASY, TABLE_WIDTH, USUAL_VALUES, MAX_SHAPES, WORTH_A_MODEL, WORD, NESTED
cdef object MISS
cdef State CLOSED
cdef Production ESCAPE
cdef const unsigned char *DIGITS

@cython.final
cdef class Value:
    cdef public int kind, width, size
    cdef public tuple values
    cdef public object low, high
    cdef dict _tables
    cpdef bint easy(self) except -1
    cpdef tuple table(self, int lead)

@cython.final
cdef class Production:
    cdef public int op, slot, limit, width
    cdef public bint many
    cdef public unsigned int mask, guard
    cdef public str key
    cdef public tuple table
    cdef public Type type
    cdef public Value value
    cdef public State start, next, full
    cdef public Memo memo
    cpdef Production fast(self, int lead)

@cython.final
cdef class State:
    cdef public int kind, count, width
    cdef public unsigned int mask
    cdef public bint ends
    cdef public Production only
    cdef public list productions
    cpdef int second_level(self) except -1

@cython.final
cdef class Shape:
    cdef public Shapes shapes
    cdef public tuple keys, nested
    cdef public Py_ssize_t count, first
    cdef public int uses
    cdef public Production via, before
    cdef public Shape next, then
    cdef public dict others, model
    @cython.locals(shape=Shape)
    cdef Shape follow(self, Production p)
    cdef dict finish(self, list values, Py_ssize_t base)
    cdef dict part(self, list values, Py_ssize_t base)

@cython.final
cdef class Memo:
    cdef public Py_ssize_t size
    cdef public int head
    cdef public unsigned long long first, second
    cdef public dict content

@cython.final
cdef class Shapes:
    cdef public int count
    cdef public list types
    @cython.locals(type=Type)
    cdef object one_more(self)

@cython.final
cdef class Type:
    cdef public Value value
    cdef public object raw, table
    cdef public State start
    cdef public Shape shape
    cdef public bint wordless
    @cython.locals(state=State, p=Production)
    cpdef State first(self)

@cython.final
cdef class Frame:
    cdef public Frame outer, inner
    cdef public Py_ssize_t start, base
    cdef public int depth
    cdef public Production production
    cdef public Shape shape
    cdef public dict out

@cython.final
cdef class Reader:
    cdef public bytes data
    cdef const unsigned char *buffer
    cdef unsigned char scratch[64]
    cdef public Py_ssize_t end, pos, top
    cdef unsigned long long acc
    cdef public str key
    cdef public int max_depth, max_entries, entries
    cdef public list notes, values, literals
    cdef public dict partitions
    cdef public Frame outermost, frame

    cdef object close(self)
    cpdef object open(self, bytes data, Py_ssize_t pos, int max_depth, int max_entries)

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
    @cython.locals(index=Py_ssize_t, width=int, found=list, literals=list, i=Py_ssize_t)
    cdef str hit(self, Py_ssize_t where, int slot, Py_ssize_t start)
    @cython.locals(kind=int, size=Py_ssize_t, raw=bytes, text=str)
    cdef object read_value(self, Value v, int slot)
    @cython.locals(start=Py_ssize_t, code=Py_ssize_t)
    cdef object fixed(self, Value v)
    cdef object number(self, Value v)
    @cython.locals(code=int)
    cdef object simple(self, Production p)
    @cython.locals(start=Py_ssize_t, events=int, second=int, p=Production)
    cdef object escape(self, State state, int code)
    @cython.locals(frame=Frame)
    cpdef dict root(self, Production p)
    @cython.locals(
        compiled=bint, same=bint, values=list, left=Py_ssize_t, rest=Py_ssize_t, begin=Py_ssize_t, fresh=Py_ssize_t,
        base=Py_ssize_t, room=Py_ssize_t, acc="unsigned long long", code="unsigned int", low="unsigned int", op=int,
        state=State, p=Production, frame=Frame, shape=Shape, memo=Memo, child=dict, out=dict,
    )
    cdef dict element(self, Production root, Type kind)
    cdef void here(self, Frame frame, Shape shape, Py_ssize_t base) noexcept
    @cython.locals(code=int, p=Production)
    cdef State careful(self, State state)
    cdef State other(self, int op, Production p, int slot)
    cdef object deeper(self, Frame frame, Production p, Py_ssize_t offset)
    @cython.locals(start=Py_ssize_t, i=Py_ssize_t, word="unsigned long long")
    cdef unsigned long long word(self, Py_ssize_t pos, int width) noexcept
    cdef bint same(self, Memo memo, Py_ssize_t pos) noexcept
    @cython.locals(size=Py_ssize_t, head=int)
    cdef object remember(self, Production p, Py_ssize_t start, Py_ssize_t end, dict content)
    cdef Py_ssize_t more_values(self) except -1
    @cython.locals(frame=Frame, keys=tuple)
    cdef object found(self, str key)
    @cython.locals(frame=Frame, place=Py_ssize_t)
    cdef object store(self, Production p, object value)
    @cython.locals(frame=Frame, keys=tuple)
    cdef State put(self, Production p, object value)
    cdef object entry(self, Production p, Py_ssize_t offset)
    @cython.locals(entries=list)
    cdef State append(self, Production p, object value)
    @cython.locals(p=Production, content=dict, outer=dict)
    cdef dict partial(self, Frame frame)

@cython.final
cdef class Grammar:
    cdef public str schema
    cdef public list documents, fragments
    cdef public int width
    cdef public list spare
    cdef public Production wrapper
    @cython.locals(reader=Reader, code=int, p=Production, content=dict, body=dict, trailing=Py_ssize_t)
    cpdef object decode(self, bytes data, int max_depth, int max_entries)
    @cython.locals(reader=Reader, count=int, width=int, code=int, content=dict, start=Py_ssize_t)
    cpdef dict decode_fragment(self, bytes data, int max_depth, int max_entries)
    cdef Reader reader(self)
