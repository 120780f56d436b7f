"""A gate as one would first write it with Django REST framework: tokens, a permission by group, throttles on Redis.

It does less than authsvc (no usage, no month, nothing atomic), and does it as the manuals of Django and DRF recommend,
with persistent connections, on threads.
"""
