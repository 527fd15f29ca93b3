"""The application's tasks."""

from django.contrib.auth.models import User
from django.core.mail import send_mail

import fastq

app = fastq.App()


@app.task(queue="mail", retries=5)
def welcome(user_id: int) -> str:
    user = User.objects.get(pk=user_id)
    send_mail("Welcome", f"Hello {user.username}!", None, [user.email])
    return user.email
