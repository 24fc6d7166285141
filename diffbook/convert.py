"""Turn an old checkpoint into safetensors: `diffbook.store.convert`, under the name by which it is called."""

from diffbook.store.convert import convert, main

__all__ = ['convert']

if __name__ == '__main__':
    main()
