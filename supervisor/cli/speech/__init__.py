"""What `atlasctl say` is made of: asking a speech service, and letting its sound be heard.

It holds the rules of the service's own client for browsers (`tts-manager.js`): what may be taken
for sound, what is tried again, and where a speech that broke off goes on.
"""
